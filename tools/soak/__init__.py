"""Mixed load on a throw-away server for as long as is said, and what it does to its memory, files and processes.

    python -m tools.soak                              an hour of eight sessions
    python -m tools.soak --minutes 10 --seed 7        another one, and shorter
    python -m tools.soak --out soak.json              with every sample, as JSON

`load` has the sessions, `actions` what they do and which errors each of these may provoke, `watch` looks at the
server meanwhile, and `verdict` says what is wrong with what was seen. The seed decides what each session asks for, and
in which order; how the sessions meet is up to the machine.
"""
