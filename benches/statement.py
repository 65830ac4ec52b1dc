"""The server's own statements as pgbench scripts: taken from its source, so that both run the same."""

import re

STORE = "src/domains/fleet_customers/store.rs"
# A string literal, a macro that stands for one, or a parameter's SQL type.
TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|(\w+)!\(\)|=> (\w+(?:<[\w<>]+>)?)', re.S)


def literal(text):
    """A backslash at a line's end takes the line break and the next line's indentation along."""
    return re.sub(r"\\\n\s*", "", text)


def text_of(name):
    """The statement's text with $1, $2, ... where its parameters are."""
    with open(STORE, encoding="utf-8") as file:
        source = file.read()
    columns = re.search(r"macro_rules! columns \{.*?\"(.*?)\"\s*\};", source, re.S)[1]
    declared = re.search(r"struct %s<.*?;(.*?)\n\}" % name, source, re.S)[1]
    parts, parameters = [], 0
    for text, macro, sql_type in TOKEN.findall(declared):
        if macro == "columns":
            parts.append(literal(columns))
        elif sql_type:
            parameters += 1
            parts.append(f"${parameters}")
        elif not macro:
            parts.append(literal(text))
    return "".join(parts)


# What stands for a parameter: a random customer's key, or a value given with -D.
KEY = ["ARRAY[bench.park(:i)]", "ARRAY[bench.phone(:i)]"]
UPSERT = KEY + [":names::bytea[]", ":sms::boolean[]", ":options::jsonb[]", ":at::timestamptz[]"]


def filled(name, values):
    return re.sub(r"\$(\d)", lambda number: values[int(number[1]) - 1], text_of(name))


def script(name, values, rows, pipeline=1):
    """A pgbench script of `pipeline` statements, each for a random customer."""
    one = f"\\set i random(1, {rows})\n{filled(name, values)};\n"
    return one if pipeline == 1 else "\\startpipeline\n" + one * pipeline + "\\endpipeline\n"
