-- The name of a PCA item made unique in its analysis: the second of one name is "name (2)", or the next number free.
--
-- An item may itself be called "name (2)"; numbers that would repeat a name are left out.
--
-- `names` are those of all the items in their order, and `place` is the item's among them, from 1.
--
-- parameters: names, place
(
    [names[place]] || list_filter(
        list_transform(range(2, 2 + 2 * len(names)), lambda number: names[place] || ' (' || number || ')'),
        lambda numbered: not list_contains(names, numbered)
    )
)[len(list_filter(names[:place], lambda name: name = names[place]))]
