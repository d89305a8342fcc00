from tasks.serializers.activity import ActivitySerializer
from tasks.serializers.fields import PRIORITY_SPELLINGS, STATUS_SPELLINGS
from tasks.serializers.task import TaskSerializer

__all__ = ["PRIORITY_SPELLINGS", "STATUS_SPELLINGS", "ActivitySerializer", "TaskSerializer"]
