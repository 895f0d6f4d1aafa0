-- What an answer of Verbex's API is about: the content of its `data`, or the answer itself.
--
-- An answer that names its call or agent itself is not wrapped: a field `data` in it is one that we don't know.
--
-- parameters: answer
case
    when json_type(answer, '$.data') = 'OBJECT'
        and not (json_exists(answer, '$._id') or json_exists(answer, '$.call_id') or json_exists(answer, '$.ai_agent_id'))
        then answer -> '$.data'
    else answer
end
