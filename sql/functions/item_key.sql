-- The name of a PCA item made unique in its analysis: a second "name" becomes "name (2)", or the next free.
--
-- An item may itself be called "name (2)", so numbers that would repeat a name are skipped.
--
-- `names` has the names of all items in their order, and `place` is the place of the item among them, from 1.
--
-- parameters: names, place
(
    [names[place]] || list_filter(
        list_transform(range(2, 2 + 2 * len(names)), lambda number: names[place] || ' (' || number || ')'),
        lambda numbered: not list_contains(names, numbered)
    )
)[len(list_filter(names[:place], lambda name: name = names[place]))]
