"""The story of the collection: an admin and Alice, from signing up to the last thing deleted."""

from stack.postman.story import accounts, administration, notifications, tasks

STORY = [
    accounts.SIGNING_IN,
    accounts.OWN,
    tasks.TASKS,
    tasks.ASSIGNMENT,
    tasks.FILTERS,
    notifications.NOTIFICATIONS,
    accounts.SIGNING_OUT,
    administration.ADMINISTRATION,
]
