"""The page and the results blocks of README.md and SECURITY.md, made from artifacts alone.

`build.build(ws)` writes the page, `readme.update(path, block)` a block. Page and README read through `artifacts.load`,
and take their rows from `view`. Every number becomes text by `numbers.show`.
"""
