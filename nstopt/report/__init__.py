"""Make pages, tables and charts of run files.

series.py         groups records of all runs into the series of a chart
charts.py         series → matplotlib figures, as SVG for the page or PNG files
before_after.py   stylizes a photograph with the engines of a run
page.py           all of it → one self-contained HTML file (page.html.j2)
tables.py         records → CSV and Markdown
ratios.py         speed ratios with confidence intervals
regression.py     a run against its baseline
targets.py        real time, and published figures to compare with
"""
