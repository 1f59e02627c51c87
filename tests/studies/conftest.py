from made_up_results import make_results, run_script  # noqa: F401
from support import same_numbers_on_one_thread  # noqa: F401
from training_runs import clips, configuration, narrow  # noqa: F401
