"""Files that no encoder wrote, put to the decoder: it must end each one, soon, in little memory, and say why."""
