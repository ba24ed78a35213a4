"""Training options of every wrong sort. They are looked at before anything starts."""

from __future__ import annotations

from tests.hostile.case import Case, refused

_CALL = "SELECT * FROM trails.model_selection('base', 'bought', '6 s', options => {})"

_WRONG = {
    "an array": "'[]'",
    "a number": "'1'",
    "a text": "'\"dropout\"'",
    "an option that is not there": "'{\"epochs\": 3}'",
    "an option without a name": "'{\"\": 3}'",
    "an option of 1 MB": "jsonb_build_object(repeat('x', 1000000), 1)",
    "60,000 options": "(SELECT jsonb_object_agg('o' || i, i) FROM generate_series(1, 60000) i)",
    "an option of NULL": "'{\"eta\": null}'",
    "everything dropped": "'{\"dropout\": 1.0}'",
    "less than nothing dropped": "'{\"dropout\": -0.1}'",
    "a number as text": "'{\"dropout\": \"0.1\"}'",
    "a share that no double holds": "'{\"dropout\": 1e400}'",
    "a rate that no double holds": "'{\"learning_rate\": 1e400}'",
    "a rate that is nothing": "'{\"learning_rate\": 0}'",
    "a decay of 400 digits": "jsonb_build_object('decay', ('1' || repeat('0', 400))::numeric)",
    "an eta of one": "'{\"eta\": 1}'",
    "a broken eta": "'{\"eta\": 2.5}'",
    "an eta of 400 digits": "jsonb_build_object('eta', ('1' || repeat('0', 400))::numeric)",
    "no epoch": "'{\"max_epochs\": 0}'",
    "more epochs than there are numbers": "'{\"max_epochs\": 1e300}'",
    "a negative batch": "'{\"batch\": -1}'",
    "negative bins": "'{\"bins\": -1}'",
    "a negative embedding": "'{\"embedding\": -3}'",
    "an embedding that no machine holds": "'{\"embedding\": 2000000000}'",
    "slots that no machine holds": "'{\"buckets\": 1e15}'",
    "a winner of one": "'{\"winner\": 1}'",
    "a word that is not there": "'{\"together\": \"perhaps\"}'",
    "weights of a class that is not there": "'{\"class_weights\": {\"true\": 5, \"maybe\": 2}}'",
    "weights of nothing": "'{\"class_weights\": {\"true\": 0, \"false\": 1}}'",
    "columns that are no array": "'{\"categories\": \"hour\"}'",
    "a column that is no text": "'{\"numbers\": [1]}'",
    "a column that is not there": "'{\"numbers\": [\"hours\"]}'",
    "a column that is both": "'{\"numbers\": [\"hour\"], \"categories\": [\"hour\"]}'",
    "nothing held out": "'{\"validation_share\": 0}'",
    "everything held out": "'{\"validation_share\": 1}'",
    "arrays in arrays": "(repeat('[', 3000) || repeat(']', 3000))::jsonb",
    "an option of arrays in arrays": "('{\"categories\": ' || repeat('[', 3000) || repeat(']', 3000) || '}')::jsonb",
    "an option of objects in objects":
        "('{\"class_weights\": ' || repeat('{\"a\":', 3000) || '1' || repeat('}', 3000) || '}')::jsonb",
}  # fmt: skip

CASES: list[Case] = [
    refused(
        f"options that are {what}" if what.startswith("a") else f"options with {what}", _CALL.format(wrong), "22023"
    )
    for what, wrong in _WRONG.items()
]
