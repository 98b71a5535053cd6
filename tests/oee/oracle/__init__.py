"""OEE reckoned a second time, by docs/oee.md alone and with nothing of the engine: what `replay` prints must be the same.

Deliberately naive: the past of a machine is cut into slices wherever anything may change (a reading, a hold that runs out, a break,
an hour, an order, an entry), each slice says what it is, and a window is the sum of its slices. No increments, no store, no clock.
Times are integers of milliseconds, ideal time is in nanoseconds, ratios are fractions until they are rounded.

    plant      the folder's files and the event file, as plain values
    calendar   shifts, breaks and windows as instants
    states     readings to stretches of states; stops, and why they stood
    parts      counters to steps, steps and entries to slices
    machine    the slices of one machine, and their sums in a window
    figures    sums to a document

`scenarios` makes plants and days at random. Not reckoned: lines, weeks and months, the policy `infer`, machines that only count,
`versions`, and the flags of a live document.
"""
