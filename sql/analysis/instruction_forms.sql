-- What is each instruction of the training set asking for, as a verb and its object?
-- A heuristic for English: the first of these verbs that opens a sentence or follows a word such as "please" or "to";
-- the object is the last word before a preposition, conjunction or mark, of at most five. Null where none is found.
WITH chosen AS (
  SELECT t.sample, t.setting, t.document_type, lower(regexp_replace(s.instruction, r'\s+', ' ')) AS text
  FROM training_set t JOIN samples s ON s.id = t.sample WHERE t.reject_reason IS NULL
),
patterns AS (
  SELECT concat(
    r'(^|[.!?;,"“(-] ?|\b(please|kindly|you|you could|to|me|us|and|then|first|now|briefly|carefully) )',
    '(add|analy[sz]e|answer|apply|argue|arrange|assess|break|build|calculate|categori[sz]e|check|choose|cite|clarify|',
    'classify|collect|compare|compile|compose|condense|connect|contrast|convert|correct|create|critique|debate|decide|',
    'define|derive|describe|design|determine|develop|discuss|draft|draw|edit|elaborate|estimate|evaluate|examine|',
    'explain|explore|extract|fill|find|fix|follow|format|gather|generate|give|go|group|highlight|identify|illustrate|',
    'implement|improve|infer|interpret|justify|lay|list|locate|look|make|map|merge|name|note|offer|organi[sz]e|outline|',
    'paraphrase|pick|plan|point|predict|prepare|present|produce|propose|prove|provide|pull|quote|rank|rate|read|recommend|',
    'reconstruct|relate|report|rephrase|restate|restructure|review|revise|rewrite|say|score|select|show|simplify|sketch|',
    r'solve|sort|state|suggest|summari[sz]e|support|synthesi[sz]e|tabulate|tell|trace|transform|translate|turn|use|verify|write)\b'
  ) AS verb,
  concat(r'(( (?!(of|in|on|from|for|with|to|by|at|as|about|into|between|across|through|under|over|using|based|that|',
         r'which|who|what|how|why|when|where|whether|if|and|or|but|so|because|while|is|are|was|were|can|could|should|',
         r'would|must|has|have|i|you|we|they|it)\b)[\p{L}][\p{L}\p{N}’''-]*){1,5})') AS phrase
),
found AS (
  SELECT sample, setting, document_type, nullif(regexp_extract(text, verb, 3), '') AS verb,
         trim(regexp_extract(text, concat(verb, phrase, '?'), 4)) AS phrase
  FROM chosen CROSS JOIN patterns
)
SELECT sample, setting, document_type, verb,
       nullif(regexp_extract(phrase, concat(
         r'(^| )(?!(the|a|an|this|these|those|its|their|my|your|our|me|us|them|each|every|all|any|both|some)$)',
         r'([^ ]+)$'), 3), '') AS object
FROM found
