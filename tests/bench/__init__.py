"""What the issues promise about speed and memory, measured: `make bench`, or `python -m tests.bench --help`.

Machines differ and are shared, so nothing here is asserted by a test: things are timed beside each other, in one run,
in CPU time and in one thread each, and their ratio is what counts.
"""
