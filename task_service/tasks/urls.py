from django.urls import path

from chassis.api import paths
from tasks import views

paths.register()

urlpatterns = [
    path("task/tasks/<id:task_id>/", views.TaskDetail.as_view()),
    path("task/tasks/", views.TaskList.as_view()),
    path("task/tasks/summary/", views.TaskSummary.as_view()),
    path("task/tasks/export.csv", views.TaskExport.as_view()),
    path("task/tasks/bulk/", views.BulkChange.as_view()),
    path("task/tasks/<id:task_id>/activity/", views.TaskActivity.as_view()),
]
