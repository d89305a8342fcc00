"""What Alice was told, and what the admin sees of it."""

from stack.postman.steps import ABSENT, FORBIDDEN, Folder, Step

OF_THE_TASK = 'answer.results.filter(each => each.task.id === id("task_id"))'

NOTIFICATIONS = Folder(
    "Notifications",
    "Alice's inbox, and what became of each message.",
    (
        Step(
            name="What Alice has not read",
            operation="listNotifications",
            status=200,
            by="alice",
            query={"unread": "true"},
            tests={
                "She was told that the task is hers": f"expect({OF_THE_TASK}.map(each => each.kind))"
                '.to.include("task_assigned")',
                "She was told of its status": f"expect({OF_THE_TASK}.map(each => each.kind))"
                '.to.include("task_status_changed")',
            },
            keeps={"notification_id": f'{OF_THE_TASK}.find(each => each.kind === "task_assigned").id'},
        ),
        Step(
            name="She reads it",
            operation="markNotificationRead",
            status=200,
            by="alice",
            tests={"It is known when": "expect(answer.read_at).to.be.a('string')"},
        ),
        Step(
            name="What is left to read",
            operation="listNotifications",
            status=200,
            by="alice",
            query={"unread": "true"},
            tests={
                "That one is not": 'expect(answer.results.map(each => each.id)).to.not.include(id("notification_id"))',
            },
        ),
        Step(
            name="Nobody reads for another",
            operation="markNotificationRead",
            status=404,
            by="admin",
            tests=ABSENT,
        ),
        Step(
            name="What went out about the task",
            operation="listDeliveries",
            status=200,
            by="admin",
            tests={
                "The assignment is among it": "expect(answer.results.map(each => each.kind))"
                '.to.include("task_assigned")',
                "Nothing was dead-lettered": "answer.results.forEach(each => "
                'expect(each.state).to.be.oneOf(["planned", "sent", "skipped"]))',
            },
        ),
        Step(
            name="Only admins see that",
            operation="listDeliveries",
            status=403,
            by="alice",
            tests=FORBIDDEN,
        ),
    ),
)
