"""Runs and models of a database as pages in a browser: ``python -m trails dashboard``.

``command.py`` is the command, ``serving.py`` its life, ``guard.py`` decides who gets in, ``app.py`` says which page is
where. ``runs.py`` and ``models.py`` ask the database, through ``database.py``; ``thinning.py`` and ``words.py`` make of
the answers what a person can look at. Pages are templates; the script draws curves and asks for what is new.
"""
