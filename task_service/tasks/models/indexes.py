"""The indexes of tasks."""

from django.contrib.postgres.indexes import GinIndex
from django.db.models import F, Index, Q

from tasks.search.conditions import NOT_INDEXED, TEXT_VECTOR

# Each ordering has an index for admins and one for assignees, or two each if it has nulls, which sort last both ways.
TASK_INDEXES = [
    Index(fields=["-created_at", "-id"], name="task_newest"),
    Index(fields=["-updated_at", "-id"], name="task_changed_last"),
    Index(fields=["-priority", "-id"], name="task_most_urgent"),
    Index(fields=["due_date", "id"], name="task_by_due_date"),
    Index(F("due_date").desc(nulls_last=True), F("id").desc(), name="task_latest_due"),
    Index(fields=["completed_at", "id"], name="task_completed_first"),
    Index(F("completed_at").desc(nulls_last=True), F("id").desc(), name="task_completed_last"),
    Index(fields=["created_by", "-created_at", "-id"], name="task_newest_of_creator"),
    Index(fields=["assigned_to", "-created_at", "-id"], name="task_newest_of_assignee"),
    Index(fields=["assigned_to", "-id"], name="task_of_assignee"),
    Index(fields=["assigned_to", "-updated_at", "-id"], name="task_changed_last_of_assignee"),
    Index(fields=["assigned_to", "-priority", "-id"], name="task_most_urgent_of_assignee"),
    Index(fields=["assigned_to", "due_date", "id"], name="task_by_due_date_of_assignee"),
    Index(
        F("assigned_to"),
        F("due_date").desc(nulls_last=True),
        F("id").desc(),
        name="task_latest_due_of_assignee",
    ),
    Index(fields=["assigned_to", "completed_at", "id"], name="task_completed_of_assignee"),
    Index(
        F("assigned_to"),
        F("completed_at").desc(nulls_last=True),
        F("id").desc(),
        name="task_last_done_of_assignee",
    ),
    Index(fields=["status", "-created_at", "-id"], name="task_newest_in_status"),
    Index(fields=["due_date"], condition=~Q(status="completed"), name="open_task_by_due_date"),
    # The summary reads these alone, not the tasks: they contain the columns of most filters.
    Index(fields=["status", "due_date", "priority", "created_by"], name="task_counted"),
    # Not as keys: PostgreSQL assumes that it searches once for each due date before them.
    Index(
        fields=["assigned_to", "status", "due_date"],
        include=["priority", "created_by"],
        name="task_counted_of_assignee",
    ),
    # Each search reads the whole list of entries that wait to be inserted, by default up to 4 MB. In kB:
    GinIndex(fields=["search_document"], name="task_found_by_word", gin_pending_list_limit=128),
    Index(fields=["id"], condition=NOT_INDEXED, name="task_to_index"),
    GinIndex(TEXT_VECTOR, name="task_search"),  # for tasks that are not indexed yet
]
