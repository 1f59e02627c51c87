from sounding import film  # noqa: F401
from support import same_numbers_on_one_thread  # noqa: F401
