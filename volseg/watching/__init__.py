"""What a training shows of itself while it runs: curves, pictures of samples, a page, and what the curves say.

`curves` takes the lines of the log apart; `curve_picture` and `chart` draw them, and `verdict` puts them into words.
`samples` holds the slices that are looked at again and again, `sample_picture` draws and reads their files, and
`progress_page` puts everything into one HTML file.
"""
