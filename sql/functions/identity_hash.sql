-- A number for what a rule acts on once, by which loads find its actions. It is shorter, and almost never shared.
--
-- parameters: rule, identity
hash(rule || ' ' || identity)
