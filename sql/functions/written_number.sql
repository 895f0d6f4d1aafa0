-- The number that a person or a model wrote: "1,200", "85%" (85), "¥1,200", "3名", "4 people", full-width digits.
--
-- Null where it could be read in two ways: units that one item may mix (2 hours, 5 km), multipliers (5k, 3万), commas
-- that do not group thousands (1,5), and texts with more than one number.
--
-- parameters: written
coalesce(
    finite_number(trim(written)),
    finite_number(
        replace(
            regexp_extract(
                translate(lower(trim(written)), '０１２３４５６７８９．，＋－−％￥＄', '0123456789.,+--%¥$'),
                '^[¥$€£]?([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)\s*(?:%|percent|people|persons?|guests?|times|points?|items?|years? old|yen|usd|jpy|eur|dollars?|euros?|名様?|人|様|回|点|件|個|枚|台|歳|才|円|ドル|ユーロ)?$',
                1
            ),
            ',',
            ''
        )
    )
)
