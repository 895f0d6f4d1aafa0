// Replaces the parts of the page that changed, counts ages up, and writes numbers as this reader does.
"use strict";
const live = document.getElementById("live");
const offline = document.getElementById("offline");
const SILENT_MS = 15000;
let have = live.dataset.have;
let aheadMs = Date.parse(live.dataset.now) - Date.now();
let heardMs = Date.now();
let source = null;
let spoken = "";

function write(root) {
  for (const each of root.querySelectorAll("data")) {
    const digits = (each.textContent.split(".")[1] || "").length;
    const form = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    each.textContent = Number(each.value).toLocaleString(undefined, form);
  }
  count(root);
}

function count(root) {
  for (const each of root.querySelectorAll("time[data-age]")) {
    const s = Math.max(0, Math.round((Date.now() + aheadMs - Date.parse(each.dateTime)) / 1000));
    const two = (number) => String(number).padStart(2, "0");
    const clock = `${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
    const days = Math.floor(s / 86400);
    each.textContent = days ? `${days} d ${Math.floor(s / 3600) % 24} h` : s < 3600 ? clock.replace(/^0/, "") : `${Math.floor(s / 3600)}:${clock}`;
  }
}

function replace(id, html) {
  const part = document.getElementById(id);
  if (!part) return;
  const open = [...part.querySelectorAll("details[open]")].map((each) => each.dataset.key);
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const place = focused && [...part.querySelectorAll("a, summary")].indexOf(focused);
  part.innerHTML = html;
  for (const each of part.querySelectorAll("details")) each.open = open.includes(each.dataset.key);
  if (focused) {
    const links = [...part.querySelectorAll("a, summary")];
    (links.find((each) => focused.href && each.href === focused.href) || links[place] || links.at(-1))?.focus();
  }
  write(part);
}

// The banner changes with every publish. A screen reader speaks only when something becomes wrong or right again.
function speak() {
  const warnings = document.querySelectorAll("#banner .warning");
  const digits = /\d+ (seconds|minutes|hours|days)/g;
  const state = [...warnings].map((each) => each.textContent.replace(digits, "")).join("\n");
  if (state !== spoken) document.getElementById("spoken").textContent = [...warnings].map((each) => each.textContent).join(" ") || "Live.";
  spoken = state;
}

function take(message) {
  heardMs = Date.now();
  aheadMs = Date.parse(message.now) - Date.now();
  offline.hidden = true;
  if (!message.parts) return;
  have = message.version;
  for (const [id, html] of Object.entries(message.parts)) replace(id, html);
  speak();
}

function listen() {
  source?.close();
  source = new EventSource(`${live.dataset.updates}&have=${encodeURIComponent(have)}`);
  source.onmessage = (event) => take(JSON.parse(event.data));
  source.onerror = () => { offline.hidden = false; };
}

// A proxy may hold back what is streamed, and a browser that slept may hold a dead connection.
async function ask() {
  heardMs = Date.now();
  try {
    const answer = await fetch(`${live.dataset.updates}&once=1&have=${encodeURIComponent(have)}`);
    if (answer.status === 401) return location.reload();
    take(await answer.json());
  } catch {
    offline.hidden = false;
  }
  listen();
}

setInterval(() => {
  count(document);
  if (Date.now() - heardMs > SILENT_MS) ask();
}, 1000);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && Date.now() - heardMs > 2000) ask();
});
write(document);
speak();
listen();
