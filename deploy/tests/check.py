"""Checks everything under deploy/ with programs that others wrote, and against the source. `make deploy-check` runs it.

check.py [--sheaf PROGRAM]   with the program, its --help is asked about every command line and variable as well
"""

import argparse
import time

import chart
import composed
import images
import units
from common import CommandLines, Report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheaf", metavar="PROGRAM")
    program = parser.parse_args().sheaf
    begun = time.monotonic()
    report, commands = Report(), CommandLines(program)
    images.dockerfiles(report, commands)
    images.scripts(report, commands)
    images.node_settings(report)
    composed.check(report, commands)
    chart.check(report, commands)
    units.check(report, commands)
    if program:
        report.check(f"command lines: {len(commands.lines)} of them, by --help", commands.problems())
    else:
        report.skip("command lines, by --help", "no --sheaf is given; the suite gives it")
    took = time.monotonic() - begun
    print(f"{report.passed} passed, {len(report.failed)} failed, {report.skipped} skipped, in {took:.1f} s")
    return 1 if report.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
