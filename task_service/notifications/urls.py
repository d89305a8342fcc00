from django.urls import path

from notifications import views

urlpatterns = [
    path("task/notifications/", views.Inbox.as_view()),
    path("task/notifications/<id:notification_id>/read/", views.MarkRead.as_view()),
    path("task/tasks/<id:task_id>/notifications/", views.Ledger.as_view()),
]
