"""Changes the SQL of a test before it reaches the database."""

from django.db import connection


def replacing(old, new):
    """Replace a part of each statement, to change what the database reads."""

    def execute(run, sql, params, many, context):
        return run(sql.replace(old, new), params, many, context)

    return connection.execute_wrapper(execute)
