"""Does the proof notice? Known port mistakes (``proof``) and plain changes to the code (``plain``), one by one."""
