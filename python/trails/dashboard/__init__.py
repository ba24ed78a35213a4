"""Runs and models of a database as pages in a browser: ``python -m trails dashboard``.

``command.py`` is the command, ``serving.py`` its life, ``guard.py`` decides who gets in, ``app.py`` says which page is
where. ``run_pages.py`` and ``model_pages.py`` make pages of what ``runs.py`` and ``models.py`` ask the database,
through ``database.py``; ``words.py`` tells a run in sentences, ``answers.py`` fills ``templates``. The scripts in
``static`` draw curves and ask for what is new.
"""
