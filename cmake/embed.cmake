# An assembler file that embeds IN as the bytes gantry_schema_begin .. gantry_schema_end.
file(WRITE ${OUT} "  .section .rodata\n  .balign 16\n  .global gantry_schema_begin\n  .global gantry_schema_end\ngantry_schema_begin:\n  .incbin \"${IN}\"\ngantry_schema_end:\n  .byte 0\n  .section .note.GNU-stack,\"\",@progbits\n")
