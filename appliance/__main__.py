from appliance.cli import main

if __name__ == "__main__":
    main(prog_name="appliance")  # and not `python -m appliance`
