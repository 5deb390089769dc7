"""The page of ``ganprune report``: one HTML file with pictures, figures, charts and the generators themselves.

``contents`` says what a page shows, as plain data. ``measuring``, ``figures``, ``charts``, ``pictures``, ``networks``
and ``again`` make its parts of what a run holds. ``render`` puts them into ``page.html``, with ``page.css``,
``page.js`` and ``interpreter.js``.
"""
