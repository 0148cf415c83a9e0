"""`qol explore`: pages over `db_qol.*` and the records behind it, read-only, on this machine.

Belongs here: what a link asks for (`selection`), the SQL that answers it (`queries`), figures made from rows
(`summaries`), the records of a day (`day_records`), charts, downloads, and the pages in two languages (`texts`,
`templates/`). Numbers come from the catalogue; none is computed here that a table has. Nothing is written.
"""
