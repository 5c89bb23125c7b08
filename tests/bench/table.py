#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""table.py CEILING MEASURED [NAME NAME]: two outputs of workloads.py side by side, with ratios.

The ratio is measured / ceiling for rates (more is better) and for times (less is better) alike, and
the floor that the project holds itself to stands beside it; none where the two are named, for then
the first is no ceiling."""
import sys

# workload -> (kind, bound): "min" = at least this share of the ceiling's rate, "max" = at most so
# many times the ceiling's time
FLOORS = {
    "a_create_4k": ("min", 0.4), "b_create_4k_fsync": ("min", 0.3), "c_stat_cold": ("min", 0.3),
    "c_stat_warm": ("min", 0.9), "e_read_4k_cold": ("min", 0.4), "f_unlink": ("min", 0.15),
    "h_rename": ("min", 0.15), "i_seqwrite": ("min", 0.3), "j_seqread_cold": ("min", 0.8),
    "m_untar": ("max", 2.0), "m_rsync_a": ("max", 2.5), "n_git_clone": ("max", 2.5),
}


def read(path):
    rows, notes = {}, []
    for line in open(path):
        parts = line.split()
        if len(parts) >= 3 and not line.startswith(("#", "FAIL")):
            rows[parts[0]] = (float(parts[1]), parts[2])
        elif line.strip():
            notes.append(line.rstrip())
    return rows, notes


def main():
    ceiling, ceiling_notes = read(sys.argv[1])
    measured, notes = read(sys.argv[2])
    named = len(sys.argv) == 5
    first, second = sys.argv[3:5] if named else ("passthrough", "kithfs")
    print(f"{'WORKLOAD':26} {'UNIT':6} {first.upper():>12} {second.upper():>12} {'RATIO':>7}  "
          f"{'' if named else 'FLOOR'}".rstrip())
    for name, (value, unit) in measured.items():
        if name not in ceiling:
            print(f"{name:26} {unit:6} {'-':>12} {value:12.4g}")
            continue
        ratio = value / ceiling[name][0]
        floor = ""
        if name in FLOORS and not named:
            kind, bound = FLOORS[name]
            held = ratio >= bound if kind == "min" else ratio <= bound
            if name == "a_create_4k":
                held = held or value >= 1500
            floor = f"{'>=' if kind == 'min' else '<='} {bound} {'held' if held else 'NOT HELD'}"
        print(f"{name:26} {unit:6} {ceiling[name][0]:12.4g} {value:12.4g} {ratio:7.3f}  "
              f"{floor}".rstrip())
    for note in ceiling_notes:
        print(f"{first}:", note)
    for note in notes:
        print(note)
    return 1 if any(n.startswith("FAIL") for n in ceiling_notes + notes) else 0


sys.exit(main())
