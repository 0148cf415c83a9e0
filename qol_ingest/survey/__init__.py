"""How a participant answers WHOQOL-26 on our own page: the licensed text, personal links, pages.

Belongs here: what a participant sees and what is remembered until the form is finished. Not here: scores, and the
wording, which is licensed and in no file of the repository.
"""
