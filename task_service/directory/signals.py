from django.dispatch import Signal

# Sent inside the transaction that updates the directory.
users_deleted = Signal()  # user_ids: list[int]
