"""Run files → a page, tables and pictures for people.

series.py     records of all runs → what belongs together in a chart
charts.py     series → matplotlib figures, as SVG for the page or PNG files
pictures.py   the engines of a run → what they make of a photograph
page.py       all of it → one HTML file that needs nothing else (page.html.j2)
tables.py     records → CSV and Markdown
"""
