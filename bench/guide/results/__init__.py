"""The chapters of the results, made from the reference runs alone: ``stored`` reads them, ``facts`` counts, templates say it.

What a sentence concludes follows from the numbers and the paired tests of ``bench.metrics``; no template knows an outcome.
"""
