from django.dispatch import Signal

# Sent inside the transaction in which the directory learns of it.
users_deleted = Signal()  # user_ids: list[int]
