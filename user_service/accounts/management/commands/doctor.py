from accounts.health import CHECKS
from chassis.ops.doctor import DoctorCommand


class Command(DoctorCommand):
    checks = CHECKS
