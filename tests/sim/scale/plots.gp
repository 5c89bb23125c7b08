# SPDX-License-Identifier: GPL-3.0-or-later
# plots.gp - plots of what `run` has measured, in the folder with its tables.
set terminal svg size 720,440 font "sans,12" background "white"
set datafile separator "\t"
set datafile missing "nan"
set grid back lc rgb "#dddddd"
set key outside right
set border 3
set tics nomirror
losses = "0.0 1.0 5.0" # side by side: many are equal
array colour[5] = ["#1b6ca8", "#d1495b", "#2e933c", "#8d6a9f", "#555555"]

set logscale x
set xlabel "nodes"
set xtics (10, 30, 100, 300, 1000)
set xrange [7:1500]

set output "traffic.svg"
set title "Membership traffic that a node sends, nothing happening"
set ylabel "bytes a second"
set yrange [0:*]
plot for [i = 1:3] "membership.tsv" using (column("nodes") * (0.84 + 0.08 * i)):(strcol("loss") eq word(losses, i) ? column("bytes") : NaN) \
    with points pt 7 lc rgb colour[i] title word(losses, i) . " % lost"

set output "known.svg"
set title "Until all know (median of three)"
set ylabel "seconds"
plot for [i = 1:3] "membership.tsv" using (column("nodes") * (0.84 + 0.08 * i)):(strcol("loss") eq word(losses, i) ? column("table") : NaN) \
        with points pt 7 lc rgb colour[i] title "a new table, " . word(losses, i) . " % lost", \
    for [i = 1:3] "membership.tsv" using (column("nodes") * (0.84 + 0.08 * i)):(strcol("loss") eq word(losses, i) ? column("restart") : NaN) \
        with points pt 6 lc rgb colour[i] title "a start, " . word(losses, i) . " % lost"

set output "detected.svg"
set title "After a loss of power (median of three)"
plot for [i = 1:3] "membership.tsv" using (column("nodes") * (0.84 + 0.08 * i)):(strcol("loss") eq word(losses, i) ? column("suspect") : NaN) \
        with points pt 6 lc rgb colour[i] title "suspected, " . word(losses, i) . " % lost", \
    for [i = 1:3] "membership.tsv" using (column("nodes") * (0.84 + 0.08 * i)):(strcol("loss") eq word(losses, i) ? column("down_all") : NaN) \
        with points pt 7 lc rgb colour[i] title "down for all, " . word(losses, i) . " % lost"

set output "mistakes.svg"
set title "Suspicions that were refuted (none led to more)"
set ylabel "a node and hour"
plot for [i = 1:3] "membership.tsv" using (column("nodes") * (0.84 + 0.08 * i)):(strcol("loss") eq word(losses, i) ? column("suspected") : NaN) \
    with points pt 7 lc rgb colour[i] title word(losses, i) . " % lost"

set xtics (9, 27, 99, 297, 999)
set output "balance.svg"
set title "The partition table: weights 1, 2, 4, three zones"
set ylabel "replicas, over what the weight entitles to"
set yrange [*:*]
partitions = "1024 4096 32768"
plot for [i = 1:3] "balance.tsv" using 2:(strcol(1) eq word(partitions, i) ? column(3) : NaN) skip 1 \
        with points pt 7 lc rgb colour[i] title "most, Q = " . word(partitions, i), \
    for [i = 1:3] "balance.tsv" using 2:(strcol(1) eq word(partitions, i) ? column(4) : NaN) skip 1 \
        with points pt 6 lc rgb colour[i] title "least, Q = " . word(partitions, i)

set logscale y
set output "moved.svg"
set title "Data that a change moves, and the least that it must (Q = 4096)"
set ylabel "replicas"
plot "balance.tsv" using 2:(strcol(1) eq "4096" ? column(6) : NaN) skip 1 with points pt 7 lc rgb colour[1] title "join", \
    "balance.tsv" using 2:(strcol(1) eq "4096" ? column(7) : NaN) skip 1 with points pt 6 ps 1.6 lc rgb colour[1] title "join, least", \
    "balance.tsv" using 2:(strcol(1) eq "4096" ? column(9) : NaN) skip 1 with points pt 5 lc rgb colour[2] title "leave", \
    "balance.tsv" using 2:(strcol(1) eq "4096" ? column(10) : NaN) skip 1 with points pt 4 ps 1.6 lc rgb colour[2] title "leave, least"
unset logscale

set output "spread.svg"
set title "How the word of a new table spreads that one node has (5 % lost)"
set xlabel "ms"
set ylabel "share of the nodes"
set xtics auto
set xrange [0:2000]
set yrange [0:1]
plot for [i = 1:words(sizes)] "spread-" . word(sizes, i) . "-50.tsv" \
    using (strcol(1) eq "table" ? column(2) : NaN):3 with points pt 7 ps 0.4 lc rgb colour[i] \
    title word(sizes, i) . " nodes"
