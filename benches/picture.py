#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Draws what calls and copies measured, as SVG: picture.py CALLS.CSV COPIES.CSV >PICTURE.SVG"""

import csv
import math
import sys

WIDTH, LEFT, RIGHT = 880, 52, 138
PANEL_HEIGHT, PANEL_GAP, TOP = 300, 92, 64

BLUE, GREEN, ORANGE, RED, PURPLE, VIOLET = (
    "#2f81f7", "#2da44e", "#d4740c", "#e5484d", "#9a5ef5", "#c58af9")

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.tick { fill: #59636e }
.paper { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.unit { stroke: #59636e; stroke-width: 1.5; stroke-dasharray: 5 4 }
.spread { stroke-width: 5; stroke-opacity: 0.35 }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .tick { fill: #9198a1 }
  .paper { fill: #0d1117; stroke: #3d444d }
  .grid { stroke: #2a313c }
  .unit { stroke: #9198a1 }
}
"""


def times(path):
    """(what, where, contender) to nanoseconds: the median, and what four fifths lie between."""
    with open(path, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["against"] == ""]
    return {(row["what"], row["where"], row["contender"]):
            tuple(float(row[column]) for column in ("value", "low", "high")) for row in rows}


def ratios(figures, what, contender, unit, wheres):
    return [[time / figures[what, where, unit][0] for time in figures[what, where, contender]]
            for where in wheres]


def text(x, y, content, css="", anchor="start", color=None):
    fill = f' style="fill:{color}"' if color else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} class="{css}"{fill}>{content}</text>'


def apart(wanted, least):
    """The wanted heights, moved so that each is at least so far from the next."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    for before, after in zip(order, order[1:]):
        placed[after] = max(placed[after], placed[before] + least)
    return placed


class Panel:
    """Lines over named places, so many of them joined, on a logarithmic scale from low to high."""

    def __init__(self, top, places, joined, low, high):
        self.top, self.places, self.joined, self.low, self.high = top, places, joined, low, high
        self.out = []

    def x(self, nth):
        room = WIDTH - LEFT - RIGHT
        return LEFT + room * (nth + 0.5) / len(self.places)

    def y(self, value):
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return self.top + PANEL_HEIGHT * (1 - part)

    def frame(self, title, unit, ticks):
        right, bottom = WIDTH - RIGHT, self.top + PANEL_HEIGHT
        self.out.append(text(LEFT - 32, self.top - 34, title, "title"))
        self.out.append(text(LEFT - 32, self.top - 15, unit, "tick"))
        for tick in ticks:
            y = self.y(tick)
            css = "unit" if tick == 1 else "grid"
            ends = f'x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"'
            self.out.append(f'<line {ends} class="{css}"/>')
            self.out.append(text(LEFT - 8, y + 4, f"{tick:g}", "tick", "end"))
        for nth, place in enumerate(self.places):
            self.out.append(text(self.x(nth), bottom + 18, place, "tick", "middle"))

    def line(self, values, color):
        for nth, (_, *ends) in enumerate(values):
            low, high = (self.y(min(max(end, self.low), self.high)) for end in ends)
            x = f'x1="{self.x(nth):.1f}" x2="{self.x(nth):.1f}"'
            self.out.append(f'<line {x} y1="{low:.1f}" y2="{high:.1f}" class="spread" '
                            f'style="stroke:{color}"/>')
        points = [(self.x(nth), self.y(value)) for nth, (value, *_) in enumerate(values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points[:self.joined])
        self.out.append(f'<polyline points="{path}" class="line" style="stroke:{color}"/>')
        for x, y in points:
            self.out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" style="fill:{color}"/>')

    def lines(self, named):
        heights = apart([self.y(values[-1][0]) for _, values, _ in named], 15)
        for (name, values, color), height in zip(named, heights):
            self.line(values, color)
            self.out.append(text(WIDTH - RIGHT + 8, height + 4, name, "", "start", color))


def translate_panel(figures, top):
    what, unit = "translate, virtio", "empty call"
    counts = [1, 2, 4, 8, 32, 256, 4096]
    wheres = [f"{count} region{'s' if count > 1 else ''}" for count in counts] + ["realistic"]
    panel = Panel(top, [str(count) for count in counts] + ["realistic"], len(counts), 0.2, 512)
    panel.frame("Translating the guest addresses of a block device's requests, by number of regions",
                "time as a multiple of an empty call into a shared library (dashed); median and where "
                "four fifths lie; logarithmic, lower is better", [0.25, 0.5, 1, 2, 4, 16, 64, 256])
    panel.lines([(name, ratios(figures, what, contender, unit, wheres), color)
                 for name, contender, color in [
                     ("libguestmem, inline", "inline", GREEN),
                     ("libguestmem, call", "exported", BLUE),
                     ("C, linear search", "C linear", ORANGE),
                     ("C, binary search", "C binary", RED),
                     ("vm-memory, call", "vm-memory", PURPLE)]])
    return panel.out


def copies_panel(figures, top):
    wheres = ["16 B", "64 B", "128 B", "256 B", "512 B", "1 KiB", "4 KiB", "16 KiB", "64 KiB",
              "256 KiB", "1 MiB", "4 MiB", "16 MiB", "64 MiB"]
    panel = Panel(top, wheres, len(wheres), 0.5, 8)
    panel.frame("Copying out of guest memory and into it, by size",
                "time as a multiple of memcpy on a pointer that was translated before (dashed); "
                "median and where four fifths lie", [0.5, 1, 2, 4, 8])
    panel.lines([(name, ratios(figures, what, contender, "memcpy", wheres), color)
                 for name, what, contender, color in [
                     ("read_exact", "read", "read_exact", GREEN),
                     ("write_all", "write", "write_all", BLUE),
                     ("vm-memory, read", "read", "vm-memory", PURPLE),
                     ("vm-memory, write", "write", "vm-memory", VIOLET)]])
    return panel.out


def main():
    calls, copies = times(sys.argv[1]), times(sys.argv[2])
    second = TOP + PANEL_HEIGHT + PANEL_GAP
    height = second + PANEL_HEIGHT + 34
    body = translate_panel(calls, TOP) + copies_panel(copies, second)
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
          f'width="{WIDTH}" height="{height}">')
    print("<!-- SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause -->")
    print("<!-- made by make bench-picture -->")
    print(f"<style>{STYLE}</style>")
    print(f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8" class="paper"/>')
    print("\n".join(body))
    print("</svg>")


main()
