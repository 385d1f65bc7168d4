"""The page and the README's results block, made from artifacts alone.

`build.build(ws)` writes the page; `readme.update(path, ws)` writes the block. Both read through `artifacts.load`, take
their rows from `view` and turn every number into text with `numbers.show`.
"""
