from support import same_numbers_on_one_thread  # noqa: F401
from training_runs import clips, configuration, narrow  # noqa: F401
