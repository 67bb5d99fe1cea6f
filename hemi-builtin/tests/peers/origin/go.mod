module origin

go 1.24
