"""The proxies that the environment names for requests to other machines.

Only the choice of a proxy belongs here.
"""

from urllib.request import getproxies, proxy_bypass

from yarl import URL

from connector.system.hosts import is_loopback


def proxy_for(url: URL) -> URL | None:
    """Return the proxy that `HTTPS_PROXY` or `HTTP_PROXY` names, unless `NO_PROXY` excludes the host.

    Without a scheme it is `http://`, as for other programs. A plain request to this machine never goes
    through one.
    """
    host = url.host or ""
    proxy = getproxies().get(url.scheme)
    if not proxy or proxy_bypass(host) or (url.scheme == "http" and is_loopback(host)):
        return None
    return URL(proxy if "://" in proxy else f"http://{proxy}")
