"""Every kind of malformed line with the reason that both loaders must give."""

from __future__ import annotations

from tests.loading.conftest import FRAPPE_LINES

GOOD = FRAPPE_LINES[0]
HEAD, TAIL = "0 111:1 1022:1", "5048:1 5054:1 5056:1 5059:1 5061:1 5079:1 5201:1"

MALFORMED = {
    "blank": ("", "blank line"),
    "only spaces": (" \t ", "blank line"),
    "comment": ("# not data", "the label must be 0 or 1: '#'"),
    "label of two": ("2" + GOOD[1:], "the label must be 0 or 1: '2'"),
    "negative label": ("-1" + GOOD[1:], "the label must be 0 or 1: '-1'"),
    "decimal label": ("1.0" + GOOD[1:], "the label must be 0 or 1: '1.0'"),
    "label with a zero before": ("01" + GOOD[1:], "the label must be 0 or 1: '01'"),
    "label missing": (GOOD[2:], "the label must be 0 or 1: '111:1'"),
    "too few": (GOOD.rpartition(" ")[0], "too few fields: 9 instead of 10"),
    "too many": (GOOD + " 5184:1", "too many fields: 11 instead of 10"),
    "label only": ("1", "too few fields: 0 instead of 10"),
    "no colon": (f"{HEAD} 5041 {TAIL}", "field 3 (daytime): not id:value: '5041'"),
    "id missing": (f"{HEAD} :1 {TAIL}", "field 3 (daytime): the id must be an integer of 0 and more: ':1'"),
    "id not a number": (
        f"{HEAD} x:1 {TAIL}",
        "field 3 (daytime): the id must be an integer of 0 and more: 'x:1'",
    ),
    "id negative": (
        f"{HEAD} -5041:1 {TAIL}",
        "field 3 (daytime): the id must be an integer of 0 and more: '-5041:1'",
    ),
    "id decimal": (
        f"{HEAD} 5041.5:1 {TAIL}",
        "field 3 (daytime): the id must be an integer of 0 and more: '5041.5:1'",
    ),
    "value missing": (f"{HEAD} 5041: {TAIL}", "field 3 (daytime): the value must be a number: '5041:'"),
    "value not a number": (
        f"{HEAD} 5041:one {TAIL}",
        "field 3 (daytime): the value must be a number: '5041:one'",
    ),
    "value nan": (f"{HEAD} 5041:nan {TAIL}", "field 3 (daytime): the value must be a number: '5041:nan'"),
    "value a lone point": (
        f"{HEAD} 5041:. {TAIL}",
        "field 3 (daytime): the value must be a number: '5041:.'",
    ),
    "two values": (f"{HEAD} 5041:1:1 {TAIL}", "field 3 (daytime): the value must be a number: '5041:1:1'"),
    "id of the field before": (
        f"{HEAD} 5038:1 {TAIL}",
        "field 3 (daytime): the id '5038' is outside 5039 to 5045",
    ),
    "id of the field after": (
        f"{HEAD} 5046:1 {TAIL}",
        "field 3 (daytime): the id '5046' is outside 5039 to 5045",
    ),
    "fields in another order": (
        "0 1022:1 111:1 5041:1 " + TAIL,
        "field 1 (user): the id '1022' is outside 0 to 956",
    ),
    "id beyond 64 bits": (
        f"{HEAD} 18446744073709556657:1 {TAIL}",
        "field 3 (daytime): the id '18446744073709556657' is outside 5039 to 5045",
    ),
    "long token": (
        f"{HEAD} {'z' * 200} {TAIL}",
        f"field 3 (daytime): not id:value: '{'z' * 40}...'",
    ),
    "bytes that are not UTF-8": (f"{HEAD} 5041\udcff:1 {TAIL}", "byte 20 is not UTF-8"),
    "a cut UTF-8 character": (f"{HEAD} 5041:1 \udce2\udc82 {TAIL}", "byte 23 is not UTF-8"),
    "UTF-8 that is not data": (
        f"{HEAD} é:1 {TAIL}",
        "field 3 (daytime): the id must be an integer of 0 and more: 'é:1'",
    ),
    "control character": (
        f"{HEAD} \x07:1 {TAIL}",
        "field 3 (daytime): the id must be an integer of 0 and more: '?:1'",
    ),
    "SQL": (f"{GOOD}'); drop", "too many fields: 11 instead of 10"),
    "end of COPY": ("\\.", "the label must be 0 or 1: '\\.'"),
}
