"""A roofline plot as SVG: what the products of one machine's runs reach against its ceilings."""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 900, 520, 70, 20, 250, 50
COLORS = ("#1b6ca8", "#c0392b", "#27864b", "#8e44ad", "#b9770e", "#117a8b", "#7b3f00", "#555555", "#d35fb7")


def ticks(low, high):
    return [10.0**e * m for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for m in (1, 2, 5)
            if low <= 10.0**e * m <= high]


def plot(title, ceilings, points):
    """ceilings: {"read": bytes a second, others: operations a second}; points: [(work, label, operations per byte, operations a
    second)]. Both axes are logarithmic."""
    flat = {name: rate for name, rate in ceilings.items() if name not in ("read", "copy") and rate}
    if not points or not flat or not ceilings.get("read"):
        return None
    read = ceilings["read"]
    low_x, high_x = min(p[2] for p in points) / 2, max(p[2] for p in points) * 2
    low_y, high_y = min(min(p[3] for p in points), read * low_x) / 2, max(flat.values()) * 1.5

    def x(value):
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(value / low_x) / math.log(high_x / low_x)

    def y(value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(value / low_y) / math.log(high_y / low_y)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f"<title>{escape(title)}</title>", f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']

    def line(x0, y0, x1, y1, color, width=1.0):
        out.append(f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{color}" stroke-width="{width}"/>')

    def text(x0, y0, words, anchor="start", color="black"):
        out.append(f'<text x="{x0:.1f}" y="{y0:.1f}" text-anchor="{anchor}" fill="{color}">{escape(words)}</text>')

    for value in ticks(low_x, high_x):
        line(x(value), TOP, x(value), HEIGHT - BOTTOM, "#eeeeee")
        text(x(value), HEIGHT - BOTTOM + 16, f"{value:g}", "middle")
    for value in ticks(low_y, high_y):
        line(LEFT, y(value), WIDTH - RIGHT, y(value), "#eeeeee")
        text(LEFT - 6, y(value) + 4, f"{value * 1e-9:g}", "end")
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "operations per byte of weights", "middle")
    text(LEFT, TOP - 6, "GOP/s")
    top = max(flat.values())
    line(x(low_x), y(read * low_x), x(min(high_x, top / read)), y(min(top, read * high_x)), "#333333", 1.5)
    text(x(low_x) + 8, y(read * low_x) - 14, f"read {read * 1e-9:.0f} GB/s", color="#333333")
    for name, rate in flat.items():
        line(x(min(high_x, max(low_x, rate / read))), y(rate), WIDTH - RIGHT, y(rate), "#333333", 1.5)
        text(WIDTH - RIGHT + 6, y(rate) + 4, f"{name.replace('_', ' ')} {rate * 1e-9:.0f}", color="#333333")
    works = list(dict.fromkeys(p[0] for p in points))
    for work, label, intensity, rate in points:
        color = COLORS[works.index(work) % len(COLORS)]
        out.append(f'<circle cx="{x(intensity):.1f}" cy="{y(rate):.1f}" r="4" fill="{color}"><title>{escape(label)}</title></circle>')
    for i, work in enumerate(works):
        y0 = HEIGHT - BOTTOM - 18 * (len(works) - i)
        out.append(f'<circle cx="{WIDTH - RIGHT + 12}" cy="{y0 - 4}" r="4" fill="{COLORS[i % len(COLORS)]}"/>')
        text(WIDTH - RIGHT + 22, y0, work)
    return "\n".join(out + ["</svg>"]) + "\n"
