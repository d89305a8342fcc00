from django.dispatch import Signal

# Sent inside the transaction in which the directory learns of it.
user_deleted = Signal()  # user_id
