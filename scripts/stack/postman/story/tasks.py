"""An admin makes tasks and gives them to Alice, who finds them."""

from stack.postman.steps import ABSENT, FORBIDDEN, GUID, Folder, Step, blames

LANDLORD, PLANTS = "Call the landlord", "Water the plants"
LINES = 'answer.trim().split("\\n")'
TITLES = "answer.results.map(task => task.title)"
ETAG = 'headers.get("ETag").replace("W/", "")'  # the gateway's compression makes it a weak one
NEW_LANDLORD = {"title": LANDLORD, "due_date": "2099-12-01"}

TASKS = Folder(
    "Tasks",
    "An admin makes, reads and changes a task. Nobody else may, and nobody else sees it.",
    (
        Step(
            name="A task is made",
            operation="createTask",
            status=201,
            by="admin",
            headers={"Idempotency-Key": "{{task_key}}"},
            body=NEW_LANDLORD,
            new={"task_key": GUID},
            tests={
                "It is to be done": 'expect(answer.status).to.equal("todo")',
                "Nobody has to": "expect(answer.assigned_to).to.be.null",
                "Location leads to it": 'expect(headers.get("Location"))'
                ".to.match(new RegExp(`/task/tasks/${answer.id}/$`))",
            },
            keeps={"task_id": "answer.id", "first_etag": ETAG},
        ),
        Step(
            name="Sent twice, it is made once",
            operation="createTask",
            status=201,
            by="admin",
            headers={"Idempotency-Key": "{{task_key}}"},
            body=NEW_LANDLORD,
            tests={"It is the same task": 'expect(answer.id).to.equal(id("task_id"))'},
        ),
        Step(
            name="The same key with another task",
            operation="createTask",
            status=422,
            by="admin",
            headers={"Idempotency-Key": "{{task_key}}"},
            body={"title": PLANTS},
            tests={"It says so": 'expect(answer.code).to.equal("idempotency_key_reused")'},
        ),
        Step(
            name="A slip of the pen is refused",
            operation="createTask",
            status=400,
            by="admin",
            body={"title": PLANTS, "asigned_to": None},
            tests={
                **blames("asigned_to"),
                "It knows what was meant": 'expect(answer.errors[0].detail).to.include("assigned_to")',
            },
        ),
        Step(
            name="A plain user makes no tasks",
            operation="createTask",
            status=403,
            by="alice",
            body={"title": PLANTS},
            tests=FORBIDDEN,
        ),
        Step(
            name="The admin reads it",
            operation="readTask",
            status=200,
            by="admin",
            tests={
                "It is the one": 'expect(answer.id).to.equal(id("task_id"))',
                "It is as it was made": f'expect({ETAG}).to.equal(saved("first_etag"))',
            },
        ),
        Step(
            name="Somebody else's task is not there",
            operation="readTask",
            status=404,
            by="alice",
            tests=ABSENT,
        ),
        Step(
            name="It is replaced, if nobody was faster",
            operation="replaceTask",
            status=200,
            by="admin",
            headers={"If-Match": "{{first_etag}}"},
            body={**NEW_LANDLORD, "priority": "high", "description": "About the broken window."},
            tests={
                "It is of high priority": 'expect(answer.priority).to.equal("high")',
                "It has changed": f'expect({ETAG}).to.not.equal(saved("first_etag"))',
            },
        ),
        Step(
            name="Who was slower learns what has changed",
            operation="changeTask",
            status=412,
            by="admin",
            headers={"If-Match": "{{first_etag}}"},
            body={"priority": "low"},
            tests={
                "It names the fields": 'expect(answer.changed_fields).to.have.members(["description", "priority"])',
            },
        ),
    ),
)

ASSIGNMENT = Folder(
    "Assignment",
    "Alice gets two tasks, and both move on.",
    (
        Step(
            name="Alice gets the task",
            operation="changeTask",
            status=200,
            by="admin",
            body={"assigned_to": "{{alice_id}}"},
            tests={
                "She is the assignee": 'expect(answer.assignee.username).to.equal(saved("alice_username"))',
                "The rest is as it was": 'expect(answer.priority).to.equal("high")',
            },
        ),
        Step(
            name="Now she sees it",
            operation="readTask",
            status=200,
            by="alice",
            tests={"It is assigned to her": 'expect(answer.assigned_to).to.equal(id("alice_id"))'},
        ),
        Step(
            name="She may not rename it",
            operation="changeTask",
            status=403,
            by="alice",
            body={"title": "Do not call the landlord"},
            tests=FORBIDDEN,
        ),
        Step(
            name="Another task is hers from the beginning",
            operation="createTask",
            status=201,
            by="admin",
            body={"title": PLANTS, "due_date": "2020-02-29", "assigned_to": "{{alice_id}}"},
            tests={
                "She is the assignee": 'expect(answer.assignee.id).to.equal(id("alice_id"))',
                "It is overdue": "expect(answer.is_overdue).to.be.true",
            },
            keeps={"other_task_id": "answer.id"},
        ),
        Step(
            name="Nobody of that number",
            operation="changeTask",
            status=400,
            by="admin",
            body={"assigned_to": 9007199254740991},
            tests=blames("assigned_to"),
        ),
        Step(
            name="Both are begun at once",
            operation="changeTasks",
            status=200,
            by="admin",
            body={"ids": ["{{task_id}}", "{{other_task_id}}"], "set": {"status": "in_progress"}},
            tests={
                "Both have changed": "expect(answer.updated.map(task => task.id))"
                '.to.have.members([id("task_id"), id("other_task_id")])',
                "Both are in progress": 'answer.updated.forEach(task => expect(task.status).to.equal("in_progress"))',
            },
        ),
        Step(
            name="How many are in progress",
            operation="changeTasks",
            status=400,
            by="admin",
            body={"filter": {"assigned_to": ["{{alice_username}}"]}, "set": {"priority": "urgent"}},
            tests={**blames("expected_count"), "It tells how many": "expect(answer.actual_count).to.equal(2)"},
        ),
        Step(
            name="Those two become urgent",
            operation="changeTasks",
            status=200,
            by="admin",
            body={
                "filter": {"assigned_to": ["{{alice_username}}"]},
                "expected_count": 2,
                "set": {"priority": "urgent"},
            },
            tests={
                "Both have changed": 'expect(answer.updated_ids).to.have.members([id("task_id"), id("other_task_id")])',
            },
        ),
        Step(
            name="One of them is done",
            operation="changeTask",
            status=200,
            by="admin",
            body={"status": "Completed"},
            tests={
                "It is completed": 'expect(answer.status).to.equal("completed")',
                "It is known since when": "expect(answer.completed_at).to.be.a('string')",
            },
        ),
        Step(
            name="What has become of it",
            operation="listActivity",
            status=200,
            by="alice",
            query={"ordering": "id"},
            tests={
                "It begins with the creation": 'expect(answer.results[0].kind).to.equal("created")',
                "It was given to her": 'expect(answer.results.find(each => each.kind === "assigned").to)'
                '.to.equal(id("alice_id"))',
                "It ends with the status": "expect(answer.results.pop())"
                '.to.include({field: "status", to: "completed"})',
            },
        ),
    ),
)

FILTERS = Folder(
    "Filters",
    "Alice looks for her tasks; filters never show more than she may see.",
    (
        Step(
            name="All her tasks",
            operation="listTasks",
            status=200,
            by="alice",
            tests={
                "They are the two": f'expect({TITLES}).to.have.members(["{LANDLORD}", "{PLANTS}"])',
                "All are hers": 'answer.results.forEach(task => expect(task.assigned_to).to.equal(id("alice_id")))',
            },
        ),
        Step(
            name="Those that are completed",
            operation="listTasks",
            status=200,
            by="alice",
            query={"status": "completed"},
            tests={"One is, and no other is shown": f'expect({TITLES}).to.eql(["{LANDLORD}"])'},
        ),
        Step(
            name="Those that are overdue",
            operation="listTasks",
            status=200,
            by="alice",
            query={"overdue": "true"},
            tests={"One is, and no other is shown": f'expect({TITLES}).to.eql(["{PLANTS}"])'},
        ),
        Step(
            name="Those of one year, high or urgent, with a word",
            operation="listTasks",
            status=200,
            by="alice",
            query={
                "priority": "high,urgent",
                "due_date_after": "2099-01-01",
                "due_date_before": "2099-12-31",
                "search": "window",
            },
            tests={"One is, and no other is shown": f'expect({TITLES}).to.eql(["{LANDLORD}"])'},
        ),
        Step(
            name="The one that is due first",
            operation="listTasks",
            status=200,
            by="alice",
            query={"ordering": "due_date", "page_size": "1"},
            tests={
                "It is the overdue one": f'expect({TITLES}).to.eql(["{PLANTS}"])',
                "There is a next page": "expect(answer.next).to.include('cursor=')",
            },
            keeps={"cursor": "decodeURIComponent(answer.next.match(/cursor=([^&]+)/)[1])"},
        ),
        Step(
            name="The next page",
            operation="listTasks",
            status=200,
            by="alice",
            query={"ordering": "due_date", "page_size": "1", "cursor": "{{cursor}}"},
            tests={
                "It is the other one": f'expect({TITLES}).to.eql(["{LANDLORD}"])',
                "It is the last": "expect(answer.next).to.be.null",
            },
        ),
        Step(
            name="The admin finds what is Alice's",
            operation="listTasks",
            status=200,
            by="admin",
            query={"assigned_to": "{{alice_id}}"},
            tests={"They are the two": f'expect({TITLES}).to.have.members(["{LANDLORD}", "{PLANTS}"])'},
        ),
        Step(
            name="A status that there is not",
            operation="listTasks",
            status=400,
            by="alice",
            query={"status": "done"},
            tests=blames("status"),
        ),
        Step(
            name="How many they are",
            operation="summarizeTasks",
            status=200,
            by="alice",
            tests={
                "They are two": "expect(answer.total).to.equal(2)",
                "One is completed": "expect(answer.by_status).to.eql({todo: 0, in_progress: 1, completed: 1})",
                "One is overdue": "expect(answer.overdue).to.equal(1)",
            },
        ),
        Step(
            name="All of it for a spreadsheet",
            operation="exportTasks",
            status=200,
            by="alice",
            query={"ordering": "due_date", "separator": "comma", "bom": "false"},
            tests={
                "It begins with the names": f'expect({LINES}[0]).to.include("id,title,")',
                "There is a line for each task": f"expect({LINES}).to.have.lengthOf(3)",
                "They come in order": f'expect({LINES}[1]).to.include("{PLANTS}")',
            },
        ),
    ),
)
