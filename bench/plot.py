"""A bar chart as SVG, light or dark as the reader's system is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _ROW, _BAR, _HEAD, _FOOT = 480, 26, 14, 44, 30
_VALUE = 64  # what stands behind the longest bar
_LETTER = 7.3  # of a label, on average

_TEMPLATE = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"
     role="img" aria-labelledby="title">
<title id="title">{title}</title>
<style>
svg {{ font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }}
text {{ fill: #1f2328; dominant-baseline: central }}
.page {{ fill: #ffffff; stroke: #d1d9e0 }}
.title {{ font-size: 14px; font-weight: 600 }}
.note {{ font-size: 11px; fill: #59636e }}
.label {{ text-anchor: end }}
.ours {{ font-weight: 600 }}
.bar {{ fill: #9aa5b1 }}
.bar.ours {{ fill: #2f6fdb }}
.spread, .axis {{ stroke: #1f2328; stroke-width: 1.5 }}
.axis {{ stroke: #d1d9e0; stroke-width: 1 }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #e6edf3 }}
  .page {{ fill: #0d1117; stroke: #3d444d }}
  .note {{ fill: #9198a1 }}
  .bar {{ fill: #656c76 }}
  .bar.ours {{ fill: #4a8cf7 }}
  .spread {{ stroke: #e6edf3 }}
  .axis {{ stroke: #3d444d }}
}}
</style>
<rect class="page" x="0.5" y="0.5" width="{inner_width}" height="{inner_height}" rx="6"/>
<text class="title" x="16" y="22">{title}</text>
{rows}
<line class="axis" x1="{left:.1f}" x2="{left:.1f}" y1="{top}" y2="{bottom}"/>
<text class="note" x="16" y="{note_y}">{note}</text>
</svg>
"""
_ROW_TEMPLATE = """<text class="label{ours}" x="{label_x:.1f}" y="{middle}">{label}</text>
<rect class="bar{ours}" x="{left:.1f}" y="{bar_y}" width="{length:.1f}" height="{bar}"/>
{spread}<text class="{ours}" x="{value_x:.1f}" y="{middle}">{value}</text>"""


@dataclass(frozen=True)
class Bar:
    """One way: its value, the quartiles around it, and whether it is ours."""

    label: str
    value: float
    low: float
    high: float
    text: str
    ours: bool


def draw(title: str, bars: Sequence[Bar], *, more: bool = False) -> str:
    """The chart. A short line marks the quartiles where they differ from the median."""
    left = 24 + _LETTER * max(len(each.label) for each in bars)
    scale = (_WIDTH - left - _VALUE) / (max(each.high for each in bars) or 1)
    height = _HEAD + _ROW * len(bars) + _FOOT
    spread = any(each.low != each.high for each in bars)
    note = f"{'More' if more else 'Less'} is better." + (" Line: the middle half of the rounds." if spread else "")
    return _TEMPLATE.format(
        width=_WIDTH,
        height=height,
        inner_width=_WIDTH - 1,
        inner_height=height - 1,
        title=escape(title),
        rows="\n".join(_row(each, number, left, scale) for number, each in enumerate(bars)),
        left=left,
        top=_HEAD - 4,
        bottom=height - _FOOT,
        note_y=height - 16,
        note=note,
    )


def _row(bar: Bar, number: int, left: float, scale: float) -> str:
    middle = _HEAD + _ROW * number + _ROW // 2 - 2
    low, high = left + scale * max(bar.low, 0), left + scale * max(bar.high, 0)
    line = f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>\n'
    return _ROW_TEMPLATE.format(
        ours=" ours" if bar.ours else "",
        label=escape(bar.label),
        label_x=left - 8,
        middle=middle,
        left=left,
        bar_y=middle - _BAR // 2,
        bar=_BAR,
        length=max(scale * bar.value, 0),
        spread=line if bar.low != bar.high else "",
        value_x=max(high, left + scale * bar.value) + 6,
        value=escape(bar.text),
    )
