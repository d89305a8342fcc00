from django.contrib.auth.hashers import Argon2PasswordHasher


class SmallArgon2PasswordHasher(Argon2PasswordHasher):
    """Argon2id with 19 MiB, 2 passes, 1 lane, as OWASP recommends. Django's 100 MiB are too much for a small server."""

    time_cost = 2
    memory_cost = 19 * 1024  # KiB
    parallelism = 1
