#!/usr/bin/env python3
"""Makes the two embedded fonts from the static Inter fonts of the npm package @expo-google-fonts/inter.

    npm pack @expo-google-fonts/inter && tar xzf expo-google-fonts-inter-*.tgz
    pip install fonttools
    python subset.py package

Keeps Latin (with Vietnamese), Greek, Cyrillic and common punctuation, and makes the digits tabular so that
columns of numbers line up. Hinting and layout tables go: the rasteriser here reads outlines and advances.
"""
import sys

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

RANGES = [
    (0x0020, 0x007E), (0x00A0, 0x017F), (0x0218, 0x021B), (0x0386, 0x03CE), (0x0400, 0x045F),
    (0x0490, 0x0491), (0x1E00, 0x1EFF), (0x2010, 0x2015), (0x2018, 0x201E), (0x2020, 0x2022),
    (0x2026, 0x2026), (0x2030, 0x2030), (0x2032, 0x2033), (0x2039, 0x203A), (0x20AC, 0x20AC),
    (0x2122, 0x2122), (0x2190, 0x2193), (0x2212, 0x2212), (0x2248, 0x2248), (0x2260, 0x2260),
    (0x2264, 0x2265),
]


def tabular_digits(font):
    """Points the digits at the glyphs that the font's own `tnum` feature would choose."""
    gsub = font["GSUB"].table
    lookups = {
        index
        for record in gsub.FeatureList.FeatureRecord
        if record.FeatureTag == "tnum"
        for index in record.Feature.LookupListIndex
    }
    swap = {}
    for index in lookups:
        for table in gsub.LookupList.Lookup[index].SubTable:
            table = getattr(table, "ExtSubTable", table)
            swap.update(getattr(table, "mapping", {}))
    for table in font["cmap"].tables:
        for digit in range(ord("0"), ord("9") + 1):
            if digit in table.cmap:
                table.cmap[digit] = swap.get(table.cmap[digit], table.cmap[digit])


def main(package):
    for folder, weight in (("400Regular", "regular"), ("600SemiBold", "semibold")):
        font = TTFont(f"{package}/{folder}/Inter_{folder}.ttf")
        tabular_digits(font)
        options = Options()
        options.layout_features = []
        options.hinting = False
        options.notdef_outline = True
        options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
        options.drop_tables += ["GDEF", "GPOS", "GSUB", "STAT", "gasp", "DSIG"]
        subsetter = Subsetter(options)
        subsetter.populate(unicodes=[c for low, high in RANGES for c in range(low, high + 1)])
        subsetter.subset(font)
        font.save(f"inter-{weight}.ttf")


main(sys.argv[1])
